"""How others reach the box: HTTP, WebSocket and OSC, and the web page."""
