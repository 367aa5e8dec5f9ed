"""How the weights of the in-context transfer classifier were trained, on tables made by formula."""
