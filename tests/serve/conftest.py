import pytest
from servers import running, service_of, small_model

from divebell.serve.keys import Keys
from divebell.serve.shelf import Shelf


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    """Without a chat format."""
    return small_model(tmp_path_factory.mktemp("base"), seed=2, template=None)


@pytest.fixture(scope="session")
def server(folder, base_folder, tmp_path_factory):
    """Serves `small` and, without a chat format, `base`; its shelf of adapters is empty."""
    shelf = Shelf(tmp_path_factory.mktemp("shelf"), Keys({}))
    with running(service_of({"small": folder, "base": base_folder}), shelf) as one:
        yield one
