"""Pick landmarks: click marks in photos and on the map, and see at once what the solver makes of them."""
