"""One engine for many clients: the OpenAI and Anthropic protocols over HTTP."""
