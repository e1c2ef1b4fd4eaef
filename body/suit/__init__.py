"""A plain suit on the surface of a body: its parts and colours, the seams between them, the forms that it covers."""
