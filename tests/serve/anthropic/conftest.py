import pytest
from anthropic import Anthropic


@pytest.fixture(scope="session")
def client(server):
    with Anthropic(base_url=server.url, api_key="none", max_retries=0) as one:
        yield one
