"""The project's own weights: pictures drawn by formulas, and a network trained to classify the formulas.

As in FractalDB (Kataoka et al., "Pre-training without natural images", ACCV 2020), a category is a formula and a
picture one of the many that it makes, so that any number of labelled pictures is available, free of rights of
others. Each shows a scene: an object in the foreground (a thing of several parts, or a fractal) on a textured
ground, with random light, weather, distance and camera. The network predicts the classes of both, and further facts:
colours, the share of the picture covered, the position. Everything else varies at random from one picture to the
next. The resulting weights are in `transfer.backbones.bundled`.
"""
