"""Weights of the project's own: pictures drawn by formulas, and a network trained to tell the formulas apart.

As in FractalDB (Kataoka et al., "Pre-training without natural images", ACCV 2020), a category is a formula and a
picture one of the countless that it makes, so that there are as many labelled pictures as one likes, and nobody's
rights in them. Each shows a scene: something in the foreground (a thing of several parts, or a fractal) before a
textured ground, under some light and weather, from some distance, seen by some camera. The network tells both, what
stands there and what it stands before, and facts beside them: colours, how much it covers, where it is. All else
differs from one picture to the next and tells nothing. What was trained so lies in `transfer.backbones.bundled`.
"""
