"""Networks trained by two processes, as torchrun starts them."""

import pickle

import numpy as np
import pytest

from skltransfer.distributed import data_parallel
from tests.distributed import training_script
from tests.distributed.checks import run_in_process


@pytest.fixture(scope="session")
def launched(tmp_path_factory):
    """Return what both processes have computed, and what the launcher says of the failing one."""
    folder = tmp_path_factory.mktemp("torchrun")
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=0"]
    # A port of its own choice, on this machine alone.
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    command += ["-m", "tests.distributed.training_script", str(folder)]
    code, text = run_in_process(command, folder)
    files = [folder / "0.pkl", folder / "1.pkl"]
    assert all(file.is_file() for file in files), text
    return [pickle.loads(file.read_bytes()) for file in files], text, code


def test_all_processes_take_part(launched):
    (first, second), _, _ = launched
    assert first["processes"] == (0, 2, True)
    assert second["processes"] == (1, 2, False)


@pytest.mark.parametrize("fit", training_script.FITS, ids=lambda fit: fit.__name__)
def test_two_processes_fit_what_one_fits(launched, fit):
    """Weighted, clipped, in several passes; samples, two domains and episodes."""
    (first, second), _, _ = launched
    together = first[fit.__name__]
    np.testing.assert_array_equal(together, second[fit.__name__])
    # Parts of two domains are weighed by the samples of both, as passes are.
    settings = {"accumulate": 2} if fit is training_script.adversarial else {}
    np.testing.assert_allclose(together, fit(**settings), rtol=1e-6, atol=1e-6)


def test_random_parts_differ_between_processes_and_weights_do_not(launched):
    """Noise on the samples is drawn by each process: the fit is another one than that of one."""
    (first, second), _, _ = launched
    np.testing.assert_array_equal(first["self-supervised"], second["self-supervised"])
    assert np.isfinite(first["self-supervised"]).all()


def test_the_weights_of_the_first_process_count(launched):
    (first, second), _, _ = launched
    np.testing.assert_array_equal(first["from a file"], second["from a file"])


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(launched):
    (first, second), _, _ = launched
    np.testing.assert_array_equal(first["resumed"], first["whole"])
    np.testing.assert_array_equal(first["resumed"], second["resumed"])


def test_the_first_process_reports_and_stops_all(launched):
    (first, second), _, _ = launched
    assert first["epochs"] == (2, 2)
    assert second["epochs"] == (0, 2)


def test_an_error_of_one_process_ends_all_and_is_shown(launched):
    _, text, code = launched
    assert code != 0
    assert "ValueError: the samples of this process are lost" in text.split("Root Cause")[1]


def test_without_torchrun_there_is_one_process():
    with data_parallel() as processes:
        assert (processes.rank, processes.world_size, processes.is_first) == (0, 1, True)
    with pytest.raises(ValueError, match="world_size=2, and there are 1 processes.*torchrun"):
        data_parallel(2).__enter__()
    with pytest.raises(ValueError, match="timeout"):
        data_parallel(timeout=0).__enter__()
