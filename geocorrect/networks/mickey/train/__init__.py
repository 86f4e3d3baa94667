"""Training MicKey's heads from relative poses alone: no depth, no matches, no keypoints are labelled.

In a nutshell: keypoints of both images → pairs drawn by their weight → motions from few pairs (`motions`) → their error
on the screen (`pose_losses`) → its mean is differentiated through the geometry, and by REINFORCE through the drawing
(`reinforce`) → the easier pairs of the batch first (`curriculum`) → Adam (`trainer`). Barroso-Laguna et al., CVPR 2024.
"""
