"""Weights of the project's own: pictures drawn by formulas, and a network trained to classify the formulas.

As in FractalDB (Kataoka et al., "Pre-training without natural images", ACCV 2020), a category is a formula and a
picture one of the countless that it makes, so that there are as many labelled pictures as one likes, and nobody's
rights in them. Each shows a scene: something in the foreground (a thing of several parts, or a fractal) before a
textured ground, under some light and weather, from some distance, seen by some camera. The network predicts
the classes of both, and further facts: colours, the share of the picture covered, the position. Everything else
varies at random from one picture to the next. The resulting weights are in `transfer.backbones.bundled`.
"""
