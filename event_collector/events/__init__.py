"""Events, and the places where they wait."""
