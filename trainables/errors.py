"""The tree of all exceptions of Paretune. Each is defined where it is raised.

In brackets: the built-in exception that it also derives from.

    ParetuneError
    ├── ArchiveError (ValueError)
    ├── ArtifactError (RuntimeError)
    ├── ChildError (RuntimeError)
    ├── ClusterError
    │   └── UnknownJobError (InputError)
    ├── CompressionError
    ├── DamagedFileError
    ├── Diverged
    ├── GroupGoneError (RuntimeError)
    ├── InputError (ValueError)
    │   ├── DataError
    │   ├── NamedFunctionError
    │   ├── NeverFitsError
    │   ├── NoPlaceForDatabaseError (OSError)
    │   ├── PortInUseError
    │   ├── SourceError
    │   ├── SweepError
    │   ├── TableError
    │   ├── TaskError
    │   └── TrackingError
    ├── Interrupted
    ├── ItemsError (ValueError)
    ├── JournalError (RuntimeError)
    ├── LocalTrialError (RuntimeError)
    ├── MicroBatchTooLargeError (RuntimeError)
    ├── NoFolderError (OSError)
    ├── NoHomeError (OSError)
    ├── NobodyAtWorkError (RuntimeError)
    │   ├── NoRoomError
    │   └── RayLostError
    │       └── HeadLostError
    ├── NotTriedError
    ├── OutputsError (TypeError)
    ├── ParameterGroupsError (ValueError)
    ├── RayStartError (RuntimeError)
    ├── ServerError (RuntimeError)
    ├── SmallerNextError (RuntimeError)
    ├── StorageError (OSError)
    ├── StorageFailsError (RuntimeError)
    ├── SweepIsRunningError (RuntimeError)
    ├── UnreadableCheckpointError
    └── WorkerLostError (RuntimeError)
"""

from __future__ import annotations


class ParetuneError(Exception):
    """The base of all exceptions that Paretune raises on purpose. The message names the problem and the way out."""


class InputError(ParetuneError, ValueError):
    """An invalid input: a sweep file, an option, an address. Nothing has been run."""
