"""What people look at: pictures, annotated videos, reports."""
