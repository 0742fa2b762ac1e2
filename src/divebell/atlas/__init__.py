"""Published figures of models, each with its source and date; and what is derived of them, with its formula."""
