"""The exceptions of Paretune: one tree, and all of them are in it. Each is defined where it is raised.

In brackets: what else each can be caught by.

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
    """Whatever Paretune raises on purpose. The message is for a person: what is wrong, and the way out."""


class InputError(ParetuneError, ValueError):
    """What was given cannot be used: a sweep file, an option, an address. Nothing has been run."""
