"""Video: decoding, faces, contact sheets, copies for browsers."""
