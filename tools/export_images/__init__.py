"""Images of docs/exports.md: exported motion files as other programs show them."""
