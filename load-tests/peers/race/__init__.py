"""The race: jtav and its peers label the same feed, one after the other, and are measured from outside."""
