"""What runs inside a measured interpreter, with whichever `event_collector` that one imports: this or the other.

Nothing here may need more than that package and the standard library (uvloop where it is asked for).
"""
