import pytest
from servers import running, service_of, small_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    """Without a chat format."""
    return small_model(tmp_path_factory.mktemp("base"), seed=2, template=None)


@pytest.fixture(scope="session")
def server(folder, base_folder):
    """Serves `small` and, without a chat format, `base`."""
    with running(service_of({"small": folder, "base": base_folder})) as one:
        yield one
