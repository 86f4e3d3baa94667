"""Fine-tuning MASt3R's first point head on points that a laser scanner measured; everything else stays as it is.

In a nutshell: pairs of photos → tokens of the frozen network, once (`samples`) → the head's points against the scan
(`losses`) → AdamW with a half cosine, resumable to the bit, the best epoch kept (`trainer`) → a file of the head alone
(`head_file`).
"""
