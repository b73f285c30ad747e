"""The errors that SERscope raises on purpose: each message says what is wrong and what to do."""


class SerscopeError(Exception):
    """Base of every error whose message is meant for the user."""


class AudioError(SerscopeError):
    """A recording that cannot be read or used."""


class CorpusError(SerscopeError):
    """A corpus folder or table that does not hold what its layout promises."""


class WeightsError(SerscopeError):
    """Pretrained weights that are absent, incomplete or not the pinned ones."""


class ModelError(SerscopeError):
    """A model folder that cannot be loaded, or a model that cannot do what was asked."""


class ExplanationError(SerscopeError):
    """An explanation that is not defined for this model, target or clip."""


class SettingError(SerscopeError):
    """A setting or option outside what it may be."""


class StorageError(SerscopeError):
    """A file that cannot be written."""
