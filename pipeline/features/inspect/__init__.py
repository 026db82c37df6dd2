"""What a store holds, whether it is whole and as expected, and what libav sees of a clip."""
