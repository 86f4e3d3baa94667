"""Pure geometry: poses, similarities, cameras, geodetic frames. numpy and scipy; no files, no network."""
