"""`headrace bench serve`: one model served by Headrace's gateway and by its peers, asked the same way."""
