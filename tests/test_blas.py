"""Solvers of small matrices run on one BLAS thread, and leave the number as they found it."""

import gc
import os
import sys
import threading
import warnings

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

from skltransfer import (
    CORAL,
    JDA,
    TCA,
    DiscriminativeReweighter,
    KLIEPReweighter,
    KMMReweighter,
    MultiTaskClassifier,
    MultiTaskRegressor,
    SubspaceAlignment,
    TransferLogisticRegression,
    TransferRidge,
    ULSIFReweighter,
    _blas,
    logme_score,
    mmd_test,
)
from skltransfer._blas import (
    LARGE_MATRIX,
    LARGE_PRODUCT,
    one_blas_thread,
    threads_by,
    threads_for,
    threads_for_product,
)

blas = ThreadpoolController().select(user_api="blas")
pytestmark = pytest.mark.skipif(not blas.lib_controllers, reason="no known BLAS here")


def threads():
    return [library.num_threads for library in blas.lib_controllers]


@pytest.fixture
def found():
    """The numbers of threads that a test starts with, more than one in some library."""
    nothing = ThreadpoolController().select(user_api=[])  # its exit leaves control to any thread
    with nothing.limit(limits=1):
        limit = blas.limit(limits=2)
    yield threads() if 2 in threads() else pytest.skip("this BLAS has one thread only")
    with nothing.limit(limits=1):
        limit.restore_original_limits()


ONE = [1] * len(blas.lib_controllers)
rng = np.random.default_rng(0)
X, X_target = rng.normal(size=(160, 12)), 0.8 * rng.normal(size=(150, 12)) + 0.4
y, y_target = (np.digitize(part[:, 0], [-0.5, 0.5]) for part in (X, X_target))
in_tasks = np.column_stack([X, np.arange(len(X)) % 4])
target = {"X_target": X_target}
labels = {"X_target": X_target, "y_target": y_target}

# Functions that do the work of a solver, and a fit that calls them.
SOLVERS = {
    "KMM": ("_kmm_dense.factorised", lambda: KMMReweighter(gamma=0.1).fit(X, **target)),
    "uLSIF, candidates": ("_ulsif.eigh", lambda: ULSIFReweighter().fit(X, **target)),
    "uLSIF": ("_ulsif.cho_factor", lambda: ULSIFReweighter().fit(X, **target)),
    "KLIEP": ("_kliep.dposv", lambda: KLIEPReweighter(gamma=0.1).fit(X, **target)),
    "TCA": (
        "_transfer_components.eigh",
        lambda: TCA(40, kernel="rbf", gamma=0.1).fit(X, **target),
    ),
    "TCA, few components": (
        "_block_krylov._qr",
        lambda: TCA(3, kernel="rbf", gamma=0.1).fit(X, **target),
    ),
    "JDA": (
        "_transfer_components.leading_right_vectors",
        lambda: JDA(3, kernel="rbf", gamma=0.1, max_iter=2).fit(X, y, **target),
    ),
    "CORAL": ("_alignment.eigh", lambda: CORAL().fit(X, **target)),
    "subspaces": ("_factors.svd", lambda: SubspaceAlignment(3).fit(X[:9], **target)),
    "logistic": (
        "_logistic._solved",
        lambda: TransferLogisticRegression(alpha=1.0).fit(X, y, **labels),
    ),
    "ridge": ("_ridge.linalg.svd", lambda: TransferRidge(alpha=1.0).fit(X, y, **labels)),
    "tasks, ridge": (
        "_mean_regularized.linalg.svd",
        lambda: MultiTaskRegressor(task_column=-1).fit(in_tasks, X[:, 0]),
    ),
    "tasks, logistic": (
        "_mean_regularized.logistic_curvature",
        lambda: MultiTaskClassifier(task_column=-1).fit(in_tasks, y),
    ),
    "tasks, trace norm": (
        "_trace_norm._shrunk",
        lambda: MultiTaskRegressor("trace_norm", task_column=-1).fit(in_tasks, X[:, 0]),
    ),
    "MMD": ("_mmd._Rows.tile", lambda: mmd_test(X, X_target, n_permutations=9)),
    "LogME": ("_evidence.eigh_tridiagonal", lambda: logme_score(X, y)),
}


def resolve(path):
    parts = path.split(".")
    __import__(".".join(parts[:3]))
    value = sys.modules[".".join(parts[:3])]
    for part in parts[3:]:
        value = getattr(value, part)
    return value


def noting(function, seen):
    def called(*args, **kwargs):
        seen.append(threads())
        return function(*args, **kwargs)

    return called


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_run_on_one_thread(solver, found, monkeypatch):
    name, fit = SOLVERS[solver]
    seen, path = [], f"skltransfer._solvers.{name}"
    monkeypatch.setattr(path, noting(resolve(path), seen))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a coarse tolerance
        fit()
    assert seen and all(numbers == ONE for numbers in seen)
    assert threads() == found


def test_the_default_classifier_of_domains_runs_on_one_thread(found, monkeypatch):
    """A classifier that was given is its user's affair."""
    for given, expected in ((None, ONE), (LogisticRegression(), found)):
        seen = []
        with monkeypatch.context() as patch:
            patch.setattr(LogisticRegression, "fit", noting(LogisticRegression.fit, seen))
            DiscriminativeReweighter(classifier=given).fit(X, **target)
        assert seen and all(numbers == expected for numbers in seen)
    monkeypatch.setattr(_blas, "LARGE_MATRIX", 310 * 90)  # 12 features make 90 columns
    seen = []
    monkeypatch.setattr(LogisticRegression, "fit", noting(LogisticRegression.fit, seen))
    DiscriminativeReweighter().fit(X, **target)
    assert seen and all(numbers == found for numbers in seen)


@pytest.mark.parametrize("solver", SOLVERS)
def test_results_are_those_of_one_thread(solver, found):
    def results():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = SOLVERS[solver][1]()
        return vars(fitted) if hasattr(fitted, "fit") else {"value": fitted}

    several = results()
    with blas.limit(limits=1):
        one = results()
    arrays = [name for name in one if isinstance(one[name], np.ndarray | float)]
    assert arrays or solver == "MMD"
    for name in arrays:
        np.testing.assert_array_equal(several[name], one[name], err_msg=name)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_number_is_set_back_whatever_happens(error, found):
    @one_blas_thread()
    def solve():
        assert threads() == ONE
        if error is not None:
            raise error

    for _ in range(2):
        if error is None:
            solve()
        else:
            with pytest.raises(error):
                solve()
        assert threads() == found


def test_an_interrupt_on_the_way_in_leaves_nothing_behind(found, monkeypatch):
    def interrupted(library):
        monkeypatch.undo()
        library.settle()
        raise KeyboardInterrupt

    monkeypatch.setattr(_blas._Library, "settle", interrupted)
    with pytest.raises(KeyboardInterrupt), one_blas_thread():
        raise AssertionError("the interrupt comes before")
    assert threads() == found


def test_an_exit_that_is_lost_is_made_up_for(found):
    lost = one_blas_thread()
    lost.__enter__()
    assert threads() == ONE
    del lost
    gc.collect()
    with one_blas_thread():
        assert threads() == ONE
    assert threads() == found


def test_nested_entries_are_counted(found):
    with one_blas_thread():
        with threads_for(10):
            assert threads() == ONE
        assert threads() == ONE
    assert threads() == found


def test_threads_that_leave_in_any_order_set_the_right_number_back(found):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            entered.set()
            assert leave.wait(60)

    thread = threading.Thread(target=other)
    with one_blas_thread():
        thread.start()
        assert entered.wait(60)
    assert threads() == ONE  # the other is still inside
    leave.set()
    thread.join()
    assert threads() == found


def test_many_threads_at_once(found):
    seen = []

    def work():
        for _ in range(200):
            with one_blas_thread():
                seen.append(threads() == ONE)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(seen) == 800 and all(seen)
    assert threads() == found


def counted(monkeypatch):
    """Return a list that grows by every number that is set."""
    numbers = []
    for library in _blas._libraries.found(None):
        plain = library.controller.set_num_threads
        monkeypatch.setattr(
            library.controller,
            "set_num_threads",
            lambda number, plain=plain: (numbers.append(number), plain(number)),
        )
    return numbers


def test_nothing_is_set_where_there_is_one_thread(monkeypatch):
    with blas.limit(limits=1):
        numbers = counted(monkeypatch)
        with one_blas_thread():
            assert threads() == ONE
        assert numbers == [] and threads() == ONE


def test_another_number_that_is_set_meanwhile_remains(found):
    with one_blas_thread():
        blas.limit(limits=2)
    assert threads() == found  # two, as the user wished inside
    with one_blas_thread():
        assert threads() == ONE
    assert threads() == found


def test_large_work_keeps_all_threads(found, monkeypatch):
    assert LARGE_MATRIX == 2048**2
    for small, large in [
        (threads_for(LARGE_MATRIX - 1), threads_for(LARGE_MATRIX)),
        (threads_for_product(512, 512, 2000), threads_for_product(1024, 1024, 512)),
    ]:
        with small:
            assert threads() == ONE
        with large:
            assert threads() == found
    assert LARGE_PRODUCT == 1024 * 1024 * 512
    seen = []
    monkeypatch.setattr(_blas, "LARGE_MATRIX", 1000)
    monkeypatch.setattr(
        "skltransfer._solvers._kliep._mean_log",
        noting(resolve("skltransfer._solvers._kliep._mean_log"), seen),
    )
    KLIEPReweighter(gamma=0.1).fit(X, **target)  # 150 x 100 kernel values
    assert seen and all(numbers == found for numbers in seen)


def test_the_size_is_told_by_the_arguments(found):
    @threads_by(lambda A, *_, **__: A.size)
    def solve(A, factor=1):
        """Return the threads."""
        return threads()

    assert solve.__doc__ == "Return the threads."
    assert solve(np.zeros(3), factor=2) == ONE
    assert solve(np.broadcast_to(0.0, (3000, 3000))) == found


def test_libraries_that_are_loaded_later_are_found(monkeypatch):
    class Library:
        internal_api, filepath, num_threads = "openblas", "/later.so", 7

        def set_num_threads(self, number):
            self.num_threads = number

    class Controller:
        lib_controllers = []

        def select(self, user_api):
            assert user_api == "blas"
            return self

    monkeypatch.setattr(_blas, "ThreadpoolController", Controller)
    libraries, later = _blas._Libraries(), Library()
    monkeypatch.setattr(_blas, "_libraries", libraries)
    assert libraries.found(None) == []
    Controller.lib_controllers = [later]
    with one_blas_thread():
        assert later.num_threads == 7  # nothing was imported, and nothing is looked for
    monkeypatch.setitem(sys.modules, "an_extension_module", None)
    with one_blas_thread():
        assert later.num_threads == 1
        with one_blas_thread("mkl"):
            pass
    assert later.num_threads == 7
    assert len(libraries.found("openblas")) == 1 and libraries.found("mkl") == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_lacks_the_entries_of_other_threads(found):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            entered.set()
            assert leave.wait(60)

    def in_child(check):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads beside a fork
            child = os.fork()
        if not child:
            os._exit(0 if check() else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def enters_and_leaves():
        with one_blas_thread():
            inside = threads() == ONE
        return inside and threads() == found

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(60)
    assert in_child(lambda: threads() == found)
    assert in_child(enters_and_leaves)
    with one_blas_thread():
        assert in_child(lambda: threads() == ONE)  # the fork itself is inside
    leave.set()
    thread.join()
    assert threads() == found


def _fit_elsewhere():
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        before = threads()
        KMMReweighter(gamma=0.1).fit(X, **target)
        with one_blas_thread():
            inside = threads()
        return before, inside, threads()


def test_processes_of_joblib(found):
    (result,) = Parallel(n_jobs=2)([delayed(_fit_elsewhere)()])
    before, inside, after = result
    assert inside == ONE and after == before
