"""Tables and arrays to Plotly figures, one module per section of the app. Nothing here reads files or shows them."""
