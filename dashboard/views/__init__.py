"""The pages: each view parses the request, asks `queries`, renders. No view computes what `queries` could."""
