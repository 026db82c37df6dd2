"""Stage two: cached sequences become intensities."""
