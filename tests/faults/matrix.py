"""The fault matrix: what may go wrong, what must hold then, and which tests see that, for each mode of a handler.

`FAULTS` is the table. test_matrix.py checks that each test in it exists, and that docs/faults.md is what this prints:

    python -m tests.faults.matrix > docs/faults.md

In every row the accounting holds: accepted = finished + in handlers + queued + scheduled + dead.
"""

from typing import NamedTuple

__all__ = ["FAULTS", "MODES", "Fault"]

MODES = COROUTINE, THREAD, PROCESS, EXECUTOR, JOURNAL = ("coroutine", "thread", "process", "executor", "journal")
"""The columns. "journal" is what is to be found on record, whatever the mode."""
QUEUE = (COROUTINE, THREAD, PROCESS, EXECUTOR)
"""The fault meets the queue itself, which does not ask for the mode: one test stands for all."""

ONLY_WORKERS = "The others share the program's process: what ends it ends the program, rows 22 and 25."
ONLY_THE_POOL = "Only the pool of worker processes has this; those of an executor are that executor's."
NOT_ON_RECORD = "It does not touch the record."
NO_WORKERS = "It is about processes and threads of the pool."


class Fault(NamedTuple):
    """A row.

    Attributes:
        name: its number in the list that it began with, or the part that fails.
        what: goes wrong.
        holds: what must hold then.
        tests: by column, or by several, where that is seen: FILE::NAME or FILE::NAME[PART OF ITS PARAMETERS. FILE is
            below tests/; both are given without their `test_`.
        elsewhere: why the columns that are not there have no such fault.

    """

    name: str
    what: str
    holds: str
    tests: dict[str | tuple[str, ...], list[str]]
    elsewhere: str = ""

    def cells(self) -> dict[str, list[str]]:
        """Return the tests by column."""
        cells: dict[str, list[str]] = {}
        for modes, tests in self.tests.items():
            for mode in (modes,) if isinstance(modes, str) else modes:
                cells.setdefault(mode, []).extend(tests)
        return cells


FAULTS: dict[str, list[Fault]] = {
    "Workers": [
        Fault(
            "1",
            "An idle worker is killed",
            "It is replaced; no event is affected.",
            {PROCESS: ["workers/pool_faults::idle_worker_killed_is_replaced_without_harm"]},
            ONLY_THE_POOL,
        ),
        Fault(
            "2",
            "A busy worker is killed",
            "Its running event is a `WorkerCrashed` error; no other event is touched.",
            {
                PROCESS: [
                    "event_collector/crashes::a_crash_is_the_error_of_one_event",
                    "workers/pool_faults::death_of_a_worker_fails_only_the_job_it_was_in",
                ],
                EXECUTOR: ["event_collector/executors::an_executor_that_breaks_breaks_its_own_events_only"],
                JOURNAL: ["faults/chaos::nothing_is_lost_in_a_short_run"],
            },
            ONLY_WORKERS,
        ),
        Fault(
            "3",
            "A worker is killed after its result was written, before it was read",
            "What had finished is a result; with `retry=` an event that had not runs once "
            "more, with its number of attempts.",
            {
                PROCESS: [
                    "workers/pool_faults::finished_results_survive_the_death_of_their_worker",
                    "event_collector/retrying::a_crash_counts_for_the_event_that_was_running_only",
                ],
                JOURNAL: ["event_collector/journal::attempts_are_remembered"],
            },
            ONLY_WORKERS,
        ),
        Fault(
            "4",
            "A worker is killed in the middle of a large result",
            "That event is a crash; what follows is read right.",
            {
                PROCESS: [
                    "faults/endurance::death_in_the_middle_of_a_large_result",
                    "workers/pool_faults::death_in_the_middle_of_a_large_result",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "5",
            "A worker is killed while a large value is written to it",
            "The event had not begun: it runs in another worker. The loop is held up for less than 0.1 s.",
            {
                PROCESS: [
                    "workers/pool_faults::death_while_a_large_job_is_being_sent",
                    "workers/pool_faults::death_while_a_large_job_is_being_sent_does_not_hold_up_the_loop",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "6",
            "A busy worker is stopped with SIGSTOP",
            "It is killed at the collector's timeout and replaced.",
            {
                PROCESS: [
                    "event_collector/crashes::a_stopped_worker_is_replaced_at_its_deadline",
                    "workers/pool_faults::stopped_worker_blocks_only_its_credit",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "7",
            "A handler ends its process: a signal, `os._exit()`, `sys.exit()`, also while "
            "values are decoded or encoded",
            "That event is an error with the exit code; the others go on.",
            {
                PROCESS: [
                    "event_collector/crashes::a_crash_is_the_error_of_one_event",
                    "event_collector/crashes::a_crash_in_a_type_of_the_handler_is_a_crash_like_any_other",
                ],
                THREAD: ["event_collector/modes::what_would_end_the_program_stays_in_its_thread[thread"],
                EXECUTOR: ["event_collector/executors::sys_exit_in_an_executor_is_an_error_and_not_the_end"],
                JOURNAL: ["faults/journal_faults::an_event_that_ends_the_program_at_once_is_found_out"],
            },
            "A coroutine that ends the process ends the program: see the journal.",
        ),
        Fault(
            "8",
            "A handler is over its time",
            "Its event is a `HandlerTimeout`; a worker is killed for it, a thread cannot be.",
            {
                COROUTINE: ["event_collector/modes::a_handler_over_its_time_is_one_error[coroutine"],
                THREAD: ["event_collector/modes::a_handler_over_its_time_is_one_error[thread"],
                PROCESS: ["event_collector/modes::a_handler_over_its_time_is_one_error[process"],
                EXECUTOR: ["event_collector/modes::a_handler_over_its_time_is_one_error[executor"],
            },
            "On record it is a failure like any other, row 19.",
        ),
        Fault(
            "9",
            "A coroutine blocks the event loop",
            "It is reported once, with the collector and the seconds.",
            {COROUTINE: ["event_collector/handlers::a_handler_that_blocks_the_loop_is_reported_once"]},
            "It leaves the record alone. Other modes do not block the loop.",
        ),
        Fault(
            "10",
            "A handler swallows its cancellation, or SIGTERM",
            "The end comes within its bound all the same.",
            {
                COROUTINE: [
                    "event_collector/cancel::a_handler_that_suppresses_it",
                    "event_collector/stopping::timeout_ends_handlers_before_their_lifecycle",
                ],
                THREAD: ["event_collector/executors::a_thread_that_is_stuck_does_not_hold_up_the_end"],
                PROCESS: ["workers/pool_faults::timeout_ends_what_does_not_listen"],
                JOURNAL: ["event_collector/journal::an_end_without_time_begins_with_no_further_one"],
            },
            "An executor is the application's own; the queue does not end it.",
        ),
        Fault(
            "11",
            "A worker exceeds a limit of memory, or the kernel kills it for its memory",
            "That event says so; program and other workers go on.",
            {
                PROCESS: [
                    "faults/machine::the_kernels_out_of_memory_killer_costs_one_event",
                    "event_collector/worker_limits::memory_beyond_the_limit_is_an_error_that_names_it",
                ]
            },
            ONLY_WORKERS,
        ),
        Fault(
            "12",
            "One payload always ends its process, among 999",
            "It runs a bounded number of times and is quarantined; the 999 are done.",
            {
                PROCESS: ["faults/retries_and_timing::poison_among_many"],
                JOURNAL: [
                    "event_collector/journal::an_event_that_programs_die_of_is_quarantined",
                    "faults/journal_faults::an_event_that_ends_the_program_at_once_is_found_out",
                ],
            },
            ONLY_WORKERS,
        ),
        Fault(
            "13",
            "Every worker dies while it starts",
            "Few starts, a clear error, and work again when the cause is gone.",
            {
                PROCESS: [
                    "workers/pool_faults::workers_that_cannot_start_open_the_breaker",
                    "faults/endurance::crashes_in_a_row_open_the_breaker",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "14",
            "The system refuses new processes or descriptors",
            "Events fail and say why; work again when there is room.",
            {
                PROCESS: [
                    "faults/machine::a_fork_that_fails_is_tried_again_later",
                    "faults/machine::a_process_that_cannot_be_spawned_is_tried_again_later",
                    "faults/machine::a_program_without_descriptors_starts_no_worker_and_keeps_its_jobs_accounted_for",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "15",
            "A value, result or exception cannot be encoded or rebuilt",
            "That event is an error that says what and where.",
            {
                PROCESS: [
                    "event_collector/values::a_value_that_cannot_travel_is_an_error_that_says_so",
                    "event_collector/values::a_result_that_cannot_travel_is_an_error_that_says_so",
                    "event_collector/modes::exceptions_that_cannot_come_back_are_named[process",
                ],
                EXECUTOR: ["event_collector/modes::exceptions_that_cannot_come_back_are_named[executor"],
                JOURNAL: ["event_collector/journal::what_cannot_be_stored_is_refused"],
            },
            "Values of the others do not travel.",
        ),
        Fault(
            "16",
            "A result is hostile",
            "It is decoded as data: nothing of it is executed in the program.",
            {
                PROCESS: [
                    "event_collector/codec::hostile_exceptions_are_data",
                    "event_collector/codec::garbage_for_a_reply_is_a_clean_error",
                ],
                EXECUTOR: ["event_collector/executors::an_executor_that_answers_nonsense_is_an_error"],
                JOURNAL: ["event_collector/journal_codec::no_bytes_make_it_do_anything_but_refuse"],
            },
            "Values of the others do not travel.",
        ),
        Fault(
            "17",
            "Garbage or claimed lengths on a worker's socket",
            "That worker is replaced; memory is taken for what has come only.",
            {
                PROCESS: [
                    "workers/pool_faults::garbage_on_the_socket_costs_that_worker_only",
                    "faults/handlers::a_claimed_length_costs_no_memory",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "18",
            "A handler closes all descriptors, forks, prints without end, changes its surroundings",
            "It costs its own event at most.",
            {
                PROCESS: [
                    "faults/handlers::a_deed_costs_its_own_event_at_most",
                    "faults/programs::a_handler_that_prints_without_end_blocks_nobody_else",
                ]
            },
            ONLY_WORKERS,
        ),
    ],
    "Retries and time": [
        Fault(
            "19",
            "A handler fails, then succeeds",
            "Each wait is within its window; the attempts are counted.",
            {
                COROUTINE: ["event_collector/retrying::a_handler_is_tried_again_in_every_mode[coroutine"],
                THREAD: ["event_collector/retrying::a_handler_is_tried_again_in_every_mode[thread"],
                PROCESS: ["event_collector/retrying::a_handler_is_tried_again_in_every_mode[process"],
                EXECUTOR: ["event_collector/retrying::a_handler_is_tried_again_in_every_mode[executor"],
                JOURNAL: ["event_collector/journal::attempts_are_remembered"],
            },
        ),
        Fault(
            "20",
            "10,000 events fail at once",
            "They are tried again spread over their window.",
            {QUEUE: ["faults/retries_and_timing::a_storm_of_failures_is_spread"]},
            NOT_ON_RECORD,
        ),
        Fault(
            "21",
            "The wall clock jumps; the program is frozen",
            "Nobody is over time for that.",
            {
                QUEUE: [
                    "faults/retries_and_timing::a_frozen_program_times_nobody_out",
                    "faults/retries_and_timing::the_wall_clock_does_not_matter",
                ],
                JOURNAL: ["event_collector/journal::a_deadline_goes_on_while_no_program_runs"],
            },
        ),
    ],
    "The journal": [
        Fault(
            "22",
            "The program is killed at any point of a write; the file is torn, or a bit of it flips",
            "What was acknowledged is there after the restart; damage is reported.",
            {
                (COROUTINE, JOURNAL): [
                    "faults/journal_faults::what_was_acknowledged_survives_sigkill_at_any_moment[coroutine",
                    "faults/journal_faults::no_flipped_bit_loses_an_event_silently",
                    "faults/journal_faults::a_log_that_was_torn_anywhere_costs_the_last_transaction_only",
                    "event_collector/journal_simulation::any_order_of_programs",
                    "command/resume::a_run_may_be_killed_at_any_moment",
                ],
                PROCESS: ["faults/journal_faults::what_was_acknowledged_survives_sigkill_at_any_moment[process"],
            },
            "Threads and executors meet the journal in the same places as these.",
        ),
        Fault(
            "23",
            "The disk is full, fails, is read-only; the file is someone else's, in use, or removed while it is used",
            "`send()` is refused with a clear error; the queue goes on.",
            {
                JOURNAL: [
                    "faults/journal_disk::a_disk_without_room_refuses_and_takes_events_again_when_there_is_some",
                    "faults/journal_disk::a_write_that_fails_is_all_or_nothing",
                    "faults/journal_faults::a_full_disk_refuses_what_it_cannot_keep",
                    "faults/journal_faults::a_second_program_is_refused_until_the_first_is_dead",
                    "event_collector/journal_file::a_read_only_file_is_refused_at_the_start",
                    "event_collector/journal_file::the_database_of_another_program_is_refused",
                    "event_collector/journal_in_use::a_journal_that_vanishes_takes_no_more_events",
                    "event_collector/journal_in_use::a_change_that_cannot_be_written_stops_no_other",
                ]
            },
            "Without a journal nothing is written.",
        ),
        Fault(
            "24",
            "Dead letters are replayed twice with a crash between; a finished event is delivered again",
            "Each runs once.",
            {
                JOURNAL: [
                    "faults/journal_faults::replaying_dead_letters_twice_with_a_crash_runs_each_once",
                    "event_collector/journal_simulation::any_order_of_programs",
                ]
            },
            "Without a journal nothing survives the program.",
        ),
    ],
    "Start, stop, signals": [
        Fault(
            "25",
            "The program is killed",
            "No process outlives it by 2 s; nothing is left in /dev/shm or the temporary folder.",
            {
                PROCESS: [
                    "faults/programs::nothing_outlives_a_program_that_is_killed",
                    "workers/inherited_state::no_worker_outlives_a_killed_program_though_it_cannot_look",
                    "workers/inherited_state::no_worker_outlives_a_killed_program_that_has_forked",
                ],
                JOURNAL: ["faults/journal_faults::what_was_acknowledged_survives_sigkill_at_any_moment"],
            },
            NO_WORKERS,
        ),
        Fault(
            "26",
            "SIGTERM in the middle of work",
            "What is sent is refused, the rest finishes, the exit status tells.",
            {
                COROUTINE: ["faults/signals::a_signal_ends_a_busy_program_in_order[coroutine"],
                THREAD: ["faults/signals::a_signal_ends_a_busy_program_in_order[thread"],
                PROCESS: ["faults/signals::a_signal_ends_a_busy_program_in_order[process"],
                JOURNAL: ["command/journal_runs::what_is_given_up_at_a_signal_runs_again"],
            },
            "An executor is the application's own.",
        ),
        Fault(
            "27",
            "A second signal; signals during start, growth and end",
            "The program is gone soon, and so is every process of it.",
            {
                COROUTINE: ["faults/signals::the_second_signal_ends_it_at_once[coroutine"],
                THREAD: ["faults/signals::the_second_signal_ends_it_at_once[thread"],
                PROCESS: [
                    "faults/signals::the_second_signal_ends_it_at_once[process",
                    "faults/programs::an_interrupt_at_any_moment_leaves_nothing",
                ],
                JOURNAL: ["command/journal_runs::what_is_given_up_at_a_signal_runs_again"],
            },
            "An executor is the application's own.",
        ),
        Fault(
            "28",
            "Ctrl-C or SIGTERM reaches every process",
            "Workers leave the decision to the program.",
            {
                PROCESS: [
                    "faults/programs::ctrl_c_ends_the_program_and_not_the_events",
                    "workers/pool_faults::interrupt_from_the_terminal_is_left_to_the_parent",
                    "workers/inherited_state::a_signal_to_every_process_is_the_programs_to_decide",
                ]
            },
            NO_WORKERS,
        ),
        Fault(
            "29",
            "The interpreter ends without an end of the queue; nobody holds the queue any more",
            "Every event has a result, nothing hangs, nothing is printed.",
            {
                COROUTINE: [
                    "faults/loops::a_loop_that_ends_under_its_queue_leaves_no_event_without_a_result[coroutine",
                    "event_collector/races::a_queue_lives_while_only_its_publisher_is_held",
                ],
                THREAD: ["faults/loops::a_loop_that_ends_under_its_queue_leaves_no_event_without_a_result[thread"],
                PROCESS: [
                    "faults/loops::a_loop_that_ends_under_its_queue_leaves_no_event_without_a_result[process",
                    "workers/programs::forgotten_pool_hinders_no_exit",
                ],
                EXECUTOR: ["workers/executor::forgotten_executor_finishes_its_calls"],
                JOURNAL: [
                    "faults/loops::a_loop_that_ends_under_its_queue_leaves_no_event_without_a_result[process-return-True"
                ],
            },
        ),
        Fault(
            "30",
            "The thread that started a worker ends",
            "The worker goes on.",
            {
                PROCESS: ["faults/endurance::a_worker_outlives_the_thread_that_started_it"],
                EXECUTOR: ["faults/endurance::an_executor_outlives_the_thread_that_used_it_first"],
            },
            NO_WORKERS,
        ),
        Fault(
            "31",
            "Threads of the program hold locks while a worker starts",
            "It starts, and has none of the program's descriptors.",
            {PROCESS: ["faults/endurance::threads_and_locks_of_the_program_stop_no_start"]},
            ONLY_THE_POOL,
        ),
    ],
    "Load": [
        Fault(
            "32",
            "A producer is far too fast",
            "Bounds hold, by the policy that was chosen; memory is flat.",
            {
                QUEUE: [
                    "event_collector/load::send_waits_while_a_bounded_queue_is_full",
                    "event_collector/overflow::a_handler_that_keeps_failing_does_not_fill_the_memory",
                    "command/streams::memory_does_not_grow_with_the_length_of_the_input",
                    "command/line_window::bytes_are_bounded_too_and_a_large_line_goes_alone",
                ],
                JOURNAL: ["event_collector/journal_file::a_hundred_thousand_events_leave_a_small_file"],
            },
        ),
        Fault(
            "33",
            "A worker stops reading",
            "Only its credit blocks.",
            {PROCESS: ["workers/pool_faults::stopped_worker_blocks_only_its_credit"]},
            ONLY_THE_POOL,
        ),
        Fault(
            "34",
            "10,000 workers are replaced",
            "No descriptors, threads, memory or processes add up.",
            {PROCESS: ["faults/endurance::recycling_adds_nothing_up"]},
            ONLY_THE_POOL,
        ),
        Fault(
            "35",
            "The pool grows or recycles while it ends",
            "Nothing is started after the end.",
            {PROCESS: ["faults/endurance::nothing_is_started_after_the_end"]},
            ONLY_THE_POOL,
        ),
        Fault(
            "36",
            "Workers are recycled with a backlog; a cancellation races with a completion",
            "All finish; each event ends once.",
            {
                COROUTINE: ["faults/retries_and_timing::a_race_of_cancellation_and_completion[coroutine"],
                THREAD: ["faults/retries_and_timing::a_race_of_cancellation_and_completion[thread"],
                PROCESS: [
                    "faults/retries_and_timing::a_race_of_cancellation_and_completion[process",
                    "event_collector/recycling::no_worker_runs_more_events_than_its_share",
                ],
                EXECUTOR: ["event_collector/cancel::an_event_in_its_handler[executor"],
                JOURNAL: ["event_collector/journal::a_cancelled_send_is_not_accepted_and_leaves_no_record"],
            },
        ),
        Fault(
            "37",
            "Ten threads submit and cancel, with callbacks that raise",
            "Every future is resolved once.",
            {EXECUTOR: ["faults/endurance::ten_threads_submit_cancel_and_have_callbacks_that_raise"]},
            "A queue belongs to one event loop; `ScaledProcessPoolExecutor` takes threads.",
        ),
    ],
    "The machine": [
        Fault(
            "38",
            "Readings of the machine fail, or are no numbers",
            "The last value holds; nothing shrinks for that.",
            {
                QUEUE: [
                    "workers/machine::a_broken_probe_keeps_the_last_values",
                    "workers/machine::an_own_cpu_that_is_not_a_number_is_not_believed",
                    "workers/autoscaler::a_missing_reading_blocks_scale_down",
                ]
            },
            NOT_ON_RECORD,
        ),
        Fault(
            "39",
            "Limits of the container change while the queue runs",
            "The pools follow at the next look.",
            {
                PROCESS: [
                    "workers/machine::a_changed_quota_is_seen_at_the_next_refresh",
                    "workers/autoscaler::a_quota_that_shrinks_takes_workers_away",
                ]
            },
            "They bound the number of worker processes.",
        ),
        Fault(
            "40",
            "Control groups of version 1, of version 2, nested, none, half a CPU",
            "The quota that counts, and at least one worker.",
            {
                PROCESS: [
                    "workers/machine::the_smallest_quota_of_all_groups_counts",
                    "workers/machine::without_control_groups_the_declared_count_holds",
                    "workers/machine::memory_of_version_1",
                    "workers/autoscaler::half_a_core_still_gets_a_worker",
                ]
            },
            "They bound the number of worker processes.",
        ),
        Fault(
            "41",
            "A worker exceeds its CPU seconds, files, processes",
            "That worker's event names the limit; the others go on.",
            {
                PROCESS: [
                    "event_collector/worker_limits::a_worker_beyond_its_cpu_seconds_ends_and_its_event_names_the_limit",
                    "event_collector/worker_limits::files_beyond_the_limit_are_an_error_that_names_it",
                    "faults/handlers::a_worker_that_may_open_no_file_still_answers",
                ]
            },
            ONLY_WORKERS,
        ),
    ],
    "Files": [
        Fault(
            "42",
            "Wrong user, symbolic link, somebody else's file in place of the journal",
            "Refused, and never removed; files are for their owner only.",
            {
                JOURNAL: [
                    "event_collector/journal_file::a_symbolic_link_is_refused",
                    "event_collector/journal_file::a_lock_that_is_a_symbolic_link_is_refused",
                    "event_collector/journal_file::files_are_for_their_owner_only",
                    "event_collector/journal_file::a_file_that_is_no_database_is_refused",
                ]
            },
            "Workers have sockets without a name in the file system.",
        )
    ],
    "Everything": [
        Fault(
            "43",
            "Any order of operations and faults, simulated",
            "Every event ends once; after each restart nothing accepted is missing, in order, with its attempts.",
            {
                QUEUE: ["event_collector/simulation::any_order_of_things"],
                JOURNAL: ["event_collector/journal_simulation::any_order_of_programs"],
            },
        ),
        Fault(
            "44",
            "Two events, two workers: crash, timeout or cancellation at every step",
            "No order of them breaks anything.",
            {PROCESS: ["event_collector/exhaustive::every_order_of_crashes_timeouts_and_cancellations"]},
            "The others take part in row 43.",
        ),
    ],
    "Code of the application": [
        Fault(
            "native code",
            "Native code crashes: SIGSEGV, SIGABRT, SIGBUS, SIGFPE",
            "The error of its event has the Python stack of the worker.",
            {
                PROCESS: [
                    "workers/stacks::a_crash_leaves_its_stack_with_every_start_method",
                    "workers/stacks::every_fatal_signal_leaves_a_stack",
                ]
            },
            ONLY_WORKERS,
        ),
        Fault(
            "stack request",
            "The stacks of a running program are asked for, again and again",
            "No worker is harmed, and no event; one that is over its time says where it was.",
            {
                PROCESS: [
                    "workers/stacks::a_worker_that_runs_python_code_survives_each_request",
                    "workers/stacks::a_timeout_names_the_line",
                    "workers/stacks::a_stopped_worker_is_killed_without_a_stack",
                ]
            },
            ONLY_WORKERS,
        ),
        Fault(
            "worker group",
            "All workers of one group die again and again, or are busy",
            "The other groups serve, in the same processes; the snapshot names the group.",
            {
                PROCESS: [
                    "event_collector/worker_groups::a_group_whose_workers_die_leaves_the_others_alone",
                    "event_collector/worker_groups::a_busy_group_keeps_no_other_waiting",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "lifecycle",
            "A lifecycle fails when it is entered, left, or in between",
            "The start is undone in reverse; an end leaves all the others; the errors come out.",
            {
                (COROUTINE, THREAD): [
                    "event_collector/starting::a_failing_setup_undoes_the_ones_before_it",
                    "event_collector/starting::a_failing_teardown_does_not_stop_the_others",
                    "event_collector/starting::several_failing_teardowns_are_all_told",
                ],
                PROCESS: [
                    "event_collector/worker_lifecycle::a_lifecycle_that_cannot_be_entered_stops_the_start",
                    "event_collector/worker_lifecycle::a_lifecycle_that_cannot_be_left_ends_its_worker_all_the_same",
                    "event_collector/worker_lifecycle::a_lifecycle_that_falls_apart_is_seen_and_opened_again",
                ],
                EXECUTOR: ["event_collector/executors::a_lifecycle_that_cannot_be_entered_is_an_error_of_each_event"],
                JOURNAL: ["event_collector/journal::a_start_that_is_cancelled_gives_the_journal_back"],
            },
        ),
        Fault(
            "router",
            "A router raises, or returns nothing",
            "That event is one error; the queue goes on.",
            {
                QUEUE: [
                    "event_collector/router::an_exception_in_a_router_is_one_error_and_the_queue_goes_on",
                    "event_collector/router::a_router_that_returns_nothing_is_one_error",
                ]
            },
            NOT_ON_RECORD,
        ),
        Fault(
            "bus handler",
            "A handler of the message bus raises",
            "It harms no event and no report.",
            {
                QUEUE: [
                    "event_collector/handlers::a_failing_bus_listener_harms_no_one",
                    "event_collector/handlers::reports_go_on_after_a_listener_failed",
                ]
            },
            NOT_ON_RECORD,
        ),
        Fault(
            "law and log",
            "A scaling law or a log raises",
            "The queue goes on looking, and working.",
            {QUEUE: ["event_collector/scaling::a_law_and_a_log_that_fail_do_not_end_the_looks"]},
            NOT_ON_RECORD,
        ),
        Fault(
            "event loop",
            "The event loop ends, or is stopped, under a queue that runs",
            "Every event has a result; what was in no handler, or in a worker, is on record still.",
            {
                COROUTINE: [
                    "faults/loops::a_loop_that_ends_under_its_queue_leaves_no_event_without_a_result[coroutine-stop",
                    "event_collector/races::a_program_that_ends_right_after_sending_ends",
                ],
                THREAD: ["faults/loops::a_loop_that_ends_under_its_queue_leaves_no_event_without_a_result[thread"],
                PROCESS: [
                    "faults/loops::a_loop_that_ends_under_its_queue_leaves_no_event_without_a_result[process",
                    "event_collector/worker_lifecycle::a_handler_that_stops_its_loop_stops_nothing_else",
                ],
                JOURNAL: [
                    "faults/loops::a_loop_that_ends_under_its_queue_leaves_no_event_without_a_result[process-return-True"
                ],
            },
            "An executor is the application's own.",
        ),
    ],
    "Surroundings": [
        Fault(
            "inherited state",
            "The program has blocked or ignored signals, closed its standard streams, or lost its working directory",
            "Workers start, are replaced and end as ever.",
            {
                PROCESS: [
                    "workers/inherited_state::a_pool_runs_and_ends_whatever_the_program_has_done_before",
                    "workers/inherited_state::what_workers_print_goes_nowhere_if_the_program_has_closed_its_streams",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "forks",
            "The program forks a process of its own, which ends or lives on",
            "Workers are left alone, and end with the program.",
            {
                PROCESS: [
                    "workers/inherited_state::a_fork_of_the_program_that_ends_leaves_the_workers_alone",
                    "workers/inherited_state::no_worker_outlives_a_killed_program_that_has_forked",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "zygote",
            "The process that forks workers is stopped or killed",
            "It is replaced, and no event waits for it. If the program is killed then, no process outlives it.",
            {
                PROCESS: [
                    "workers/worker_groups::jobs_end_although_the_zygote_was_stopped",
                    "workers/worker_groups::a_pool_ends_although_the_zygote_was_stopped",
                    "workers/inherited_state::no_process_outlives_a_killed_program_whose_zygote_was_in_trouble",
                ]
            },
            ONLY_THE_POOL,
        ),
        Fault(
            "programs of handlers",
            "A worker is killed while its handler waits for a program",
            "That program ends too.",
            {
                PROCESS: [
                    "workers/worker_groups::the_program_of_a_job_ends_when_its_worker_is_killed",
                    "workers/inherited_state::no_program_of_a_job_outlives_a_killed_program",
                ]
            },
            "The others are not killed.",
        ),
        Fault(
            "platform",
            "The platform, the build of Python or a sandbox lacks a function",
            "Another takes its place.",
            {
                PROCESS: [
                    "workers/missing_functions::a_queue_runs_without",
                    "workers/missing_functions::a_queue_runs_where_a_sandbox_refuses",
                ]
            },
            ONLY_THE_POOL,
        ),
    ],
}

INTRODUCTION = """\
# What happens when something fails

What may go wrong, and what holds then. In every row, and at every instant:
`accepted = finished + in handlers + queued + scheduled + dead`, which `queue.accounting()` tells.

A mode stands in a row where the fault exists for it; "journal" where the record of events matters. What happens
with retries, timeouts and a full queue otherwise is in [Reliability](reliability.md), what an error means in
[Errors](errors.md). This page is made
from [tests/faults/matrix.py](../tests/faults/matrix.py), which names the tests of each row.
"""


def page() -> str:
    """Return docs/faults.md."""
    lines = [INTRODUCTION]
    for group, faults in FAULTS.items():
        lines += [f"## {group}", "", "| what goes wrong | what holds | modes |", "|---|---|---|"]
        for fault in faults:
            modes = [mode for mode in MODES if mode in fault.cells()]
            lines.append(f"| {fault.what} | {fault.holds} | {', '.join(modes)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
