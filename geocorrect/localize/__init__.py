"""From matches and depth to a camera pose with an honest covariance, or a reasoned refusal. Pure: no files,
no network.
"""
