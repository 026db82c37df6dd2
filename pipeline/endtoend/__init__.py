"""REC and head trained together on videos."""
