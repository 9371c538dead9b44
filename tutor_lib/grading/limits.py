"""What a submission may use up while it is graded."""

from dataclasses import dataclass, fields

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The most that one submission may take. Every number is positive.

    Seconds are of the clock but for `cpu_seconds`; memory, processes and disk are those of all
    processes of a kernel together; output is counted as it arrives.

    Raises ValueError for a number that is not positive.
    """

    cell_seconds: float = 120.0
    notebook_seconds: float = 900.0
    cpu_seconds: float = 900.0
    memory_bytes: int = 2048 * MIB
    processes: int = 64
    file_bytes: int = 64 * MIB
    disk_bytes: int = 256 * MIB
    output_bytes: int = 4 * MIB
    output_messages: int = 10_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not (isinstance(value, int | float) and value > 0):
                raise ValueError(f"{field.name} should be a number above 0, got {value!r}")
