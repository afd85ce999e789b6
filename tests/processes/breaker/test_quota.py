"""A disk that gives a process no more room."""

import subprocess
import sys


def test_a_file_that_may_not_grow_makes_a_journal_error_in_a_process_of_its_own(tmp_path):
    # RLIMIT_FSIZE is what a quota does: every write beyond it fails.
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from services.breaker.batch import Batch, Numbering, Publication\n"
        "from services.breaker.journal import Journal, JournalError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal = Journal(Path(sys.argv[1]), wall_ns=10**18, monotonic_ns=0, keep_events_bytes=10**9)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "failed = 0\n"
        "for seq in range(1, 3000):\n"
        "    fields = {'seq': seq, 'at_ns': 2 * 10**18, 'text': 'x' * 500}\n"
        "    try:\n"
        "        journal.save(Batch(publications=[Publication('order/a/', fields, seq)], sync=seq % 2 == 0))\n"
        "    except JournalError:\n"
        "        failed += 1\n"
        "        if failed == 3:\n"
        "            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "print(failed, journal.has_backlog(), sum(1 for _ in journal.events('order/a/', 0)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("3 False 2999", "")
