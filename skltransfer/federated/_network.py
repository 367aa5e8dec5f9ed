"""Networks in a federation."""

from __future__ import annotations

import copy
from dataclasses import replace
from numbers import Integral

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from skltransfer._networks._built import n_trained_stages
from skltransfer._networks._fitting import Fitting
from skltransfer._networks._objective import Objective, ObjectiveAround, Pull
from skltransfer._parameters import check_parameters
from skltransfer.federated._learners import MU, ROUND, Counts, Learner


class NearGlobal(ObjectiveAround):
    r"""An objective with the proximal term :math:`\frac{\mu}{2} \lVert w - w^t \rVert^2`.

    The term of FedProx is L2-SP with the server's network as the source, head included.

    Parameters
    ----------
    own : Objective
        Objective of the estimator.
    fitting : Fitting
        Before training: its network has the server's weights.
    mu : float
        Strength of the proximal term.
    """

    def __init__(self, own: Objective, fitting: Fitting, mu: float):
        super().__init__(own)
        self.mu, self._decay = mu, fitting.plan.weight_decay
        self._anchors = {id(p): p.detach().clone() for p in fitting.built.network.parameters()}

    def __call__(self, network, batch, features=None):
        """Return the terms of the estimator's own loss."""
        return self.of_source(network, batch, features)

    def pulls(self, group: dict) -> list[Pull]:
        """Return the pulls of the parameters of a group."""
        own, parameters = super().pulls(group), group["params"]
        if own is None:  # weight decay, which an optimiser with pulls leaves to them
            own = [Pull([p for p in parameters if p.ndim > 1], None, self._decay)]
        return [*own, Pull(parameters, [self._anchors[id(p)] for p in parameters], self.mu)]


class NetworkLearner(Learner):
    """A fitted network estimator in a federation.

    The server starts from its network. What depends on samples and is not trained, such as the
    scaling of columns and labels, stays as the first fit has made it.
    """

    default_mu = 0.1

    def __init__(self, estimator):
        super().__init__(estimator)
        name = type(estimator).__name__
        if not hasattr(estimator, "_built"):
            raise NotFittedError(
                f"estimator is a {name} that is not fitted. Fit it to samples that the server may "
                "see: they fix the classes, the scaling and the first weights."
            )
        check_parameters(estimator)
        if getattr(estimator, "strategy", None) == "lora":
            raise ValueError(
                "strategy='lora' adds its changes to the weights after each round. Choose "
                "strategy='finetune' or 'linear_probe'."
            )
        if getattr(estimator, "class_weight", None) == "balanced":
            raise ValueError(
                "class_weight='balanced' needs the samples of all clients at once. Pass a "
                "dictionary."
            )

    # --- at the server -----------------------------------------------------------------

    def config(self, classes, feature_names) -> dict:
        """Check and return what all clients have to know."""
        known = getattr(self.estimator, "classes_", None)
        if classes is not None and (known is None or not np.array_equal(np.unique(classes), known)):
            raise ValueError(
                f"classes={np.asarray(classes).tolist()} are not those that estimator was fitted "
                "with. Leave classes out, or fit estimator to all classes."
            )
        if feature_names is not None:
            raise ValueError("feature_names is for linear models: the estimator knows its own.")
        return {}

    def start(self, counts: Counts, config: dict) -> dict:
        """Return the weights of the estimator's network."""
        return self._weights(self.estimator)

    def fitted(self, weights: dict, config: dict):
        """Return the estimator with weights that clients have agreed on."""
        model = self._copy(weights)
        model.history_, model.n_iter_ = [], 1
        return model

    # --- at a client -------------------------------------------------------------------

    def counts(self, X, y, sample_weight) -> Counts:
        """Return the sizes of a client's samples; images may be of several sizes."""
        counts = super().counts(X, y, sample_weight)
        if len(getattr(X, "shape", ())) > 2:
            counts = replace(counts, n_features=self.estimator.n_features_in_)
        return counts

    def trained(self, weights: dict, config: dict, X, y, sample_weight) -> dict:
        """Return the weights after the training that the estimator's parameters describe."""
        model, mu = self._copy(weights), float(config.get(MU, 0.0))
        model.warm_start, model.checkpoint = True, None
        if isinstance(model.random_state, Integral):  # another order of samples in each round
            model.random_state = int(model.random_state) + int(config.get(ROUND, 0))

        def adapt(own: Objective, fitting: Fitting) -> Objective:
            return NearGlobal(own, fitting, mu) if mu else own

        model._fit_further(X, y, sample_weight, adapt)
        return self._weights(model)

    # --- at both -----------------------------------------------------------------------

    def _copy(self, weights: dict):
        """Return a copy of the estimator with other weights."""
        model = copy.copy(self.estimator)
        vars(model).pop("_record", None)
        vars(model).pop("_optimizer", None)
        built = self.estimator._built
        model._built = replace(built, held=copy.deepcopy(built.network), key="", is_frozen=False)
        tensors = self._tensors(model)
        if {name: tuple(w.shape) for name, w in weights.items()} != {
            name: tuple(tensor.shape) for name, tensor in tensors.items()
        }:
            raise ValueError(
                "The server's weights are not those of this client's network. Give both the same "
                "estimator."
            )
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(torch.from_numpy(np.array(weights[name])))
        return model

    def _weights(self, model) -> dict:
        return {
            name: tensor.detach().cpu().numpy().copy()
            for name, tensor in self._tensors(model).items()
        }

    def _tensors(self, model) -> dict:
        """Return what training may change, by name: parameters, and statistics of batch norms."""
        built, estimator = model._built, self.estimator
        n_stages, n_trained = len(built.depth.stages), 0
        if estimator.strategy != "linear_probe":
            n_trained = n_trained_stages(estimator.unfreeze, built.depth, built.record.name)
        stages = built.depth.parameters(built.backbone)[n_stages - n_trained :]
        trained = {id(p) for stage in stages for p in stage}
        trained |= {id(p) for p in built.network.head.parameters()}
        for name, part in built.backbone.named_modules():
            of_trained = n_trained and built.depth.stage_of(name) >= n_stages - n_trained
            if of_trained and isinstance(part, nn.modules.batchnorm._BatchNorm):
                statistics = (part.running_mean, part.running_var)
                trained |= {id(tensor) for tensor in statistics if tensor is not None}
        named = [*built.network.named_parameters(), *built.network.named_buffers()]
        return {name: tensor for name, tensor in named if id(tensor) in trained}
