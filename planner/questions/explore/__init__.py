"""`explore`: a plan and every chart that the page draws around it."""
