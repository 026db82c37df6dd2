"""How a part lies in Zarr: arrays, documents, chunks, and layouts of other programs."""
