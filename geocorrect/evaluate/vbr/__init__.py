"""The protocol of the thesis on VBR drives: mined pairs, one anchor each, every depth (H) and scale side by side."""
