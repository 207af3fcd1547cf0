"""HTTP tests whose result may differ behind a balancer, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping

_INSIDE = "the test changes the process from inside"
_CLIENT = "a client on a real connection does not send this"
_NGINX = "nginx rejects this before it reaches an instance"
_HEALTH = "the details of health are not public"
_METRICS = "metrics are not public"

DIFFERENT: Mapping[str, str] = {
    "test_a_body_without_an_end_is_not_kept": _NGINX,
    "test_a_key_of_another_form_is_refused": _NGINX,
    "test_a_length_that_is_no_number_is_malformed_behind_any_server": _NGINX,
    "test_a_position_that_does_not_come_is_no_error_of_the_server": _INSIDE,
    "test_a_position_that_no_log_reaches_in_the_wait_is_refused_at_once": _INSIDE,
    "test_a_probe_asks_for_no_position": _HEALTH,
    "test_a_read_of_what_is_known_is_a_304_without_a_body": _CLIENT,
    "test_a_spent_token_that_comes_again_ends_its_whole_session": _INSIDE,
    "test_a_token_written_otherwise_is_refused": _CLIENT,
    "test_a_write_is_done_where_if_match_names_the_version": _CLIENT,
    "test_allow_lists_all_methods_of_a_path_and_no_other": _HEALTH,
    "test_an_error_beyond_the_app_is_a_plain_500_too": _INSIDE,
    "test_an_expired_session_cannot_be_refreshed": _INSIDE,
    "test_an_unknown_path_is_a_404": _NGINX,
    "test_any_other_request_id_is_replaced": _CLIENT,
    "test_conditions_on_several_lines_are_one_list": _NGINX,
    "test_details_tell_where_the_log_stands": _HEALTH,
    "test_every_flipped_bit_spoils_a_token": _NGINX,
    "test_head_answers_the_headers_of_get_without_the_body": _HEALTH,
    "test_it_is_there_under_every_prefix_and_answers_head": _METRICS,
    "test_names_follow_the_conventions": _METRICS,
    "test_numbers_that_cannot_be_read_make_nobody_unready": _INSIDE,
    "test_security_headers_are_on_every_answer_once": "nginx sends its own Server header",
    "test_the_callers_request_id_is_on_every_answer": _NGINX,
    "test_the_format_is_the_one_that_is_accepted": _METRICS,
    "test_the_format_that_is_liked_better_wins": _METRICS,
    "test_the_newest_of_many_sessions_are_listed": _INSIDE,
    "test_what_is_answered_is_what_is_documented": _HEALTH,
    "test_what_is_not_the_callers_own_is_the_same_404_to_the_byte": _NGINX,
}
"""Tests that may fail behind a balancer in some cases; all other tests must pass there."""
