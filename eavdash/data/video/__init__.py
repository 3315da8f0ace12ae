"""Pictures: decoding, faces, contact sheets, copies that browsers play."""
