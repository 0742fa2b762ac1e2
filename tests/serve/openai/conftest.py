import pytest
from openai import OpenAI


@pytest.fixture(scope="session")
def client(server):
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as one:
        yield one
