"""HTTP tests whose result may differ behind a balancer, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping

_INSIDE = "the test changes the process from inside"
_CLIENT = "a client on a real connection does not send this"
_NGINX = "nginx rejects this before it reaches an instance"
_HEALTH = "the details of health are not public"
_METRICS = "metrics are not public"

DIFFERENT: Mapping[str, str] = {
    "test_a_content_length_that_is_not_a_number_is_malformed": _NGINX,
    "test_a_list_of_many_sessions_has_the_newest": _INSIDE,
    "test_a_malformed_key_is_refused": _NGINX,
    "test_a_malformed_token_is_refused": _CLIENT,
    "test_a_position_far_beyond_the_log_is_refused_without_a_wait": _INSIDE,
    "test_a_position_that_is_not_reached_logs_no_error": _INSIDE,
    "test_a_read_of_the_version_in_if_none_match_is_a_304": _CLIENT,
    "test_a_reused_refresh_token_ends_its_session": _INSIDE,
    "test_a_token_with_any_flipped_bit_is_refused": _NGINX,
    "test_a_write_is_done_if_if_match_names_the_version": _CLIENT,
    "test_allow_lists_all_methods_of_a_path_and_no_other": _HEALTH,
    "test_an_endless_body_is_refused_at_the_limit": _NGINX,
    "test_an_error_outside_the_handlers_is_a_500_too": _INSIDE,
    "test_an_expired_session_cannot_be_refreshed": _INSIDE,
    "test_an_unknown_path_is_a_404": _NGINX,
    "test_any_other_request_id_is_replaced": _CLIENT,
    "test_conditions_on_several_lines_are_one_list": _NGINX,
    "test_details_report_the_position_of_the_log": _HEALTH,
    "test_head_answers_the_headers_of_get_without_the_body": _HEALTH,
    "test_health_ignores_a_required_position": _HEALTH,
    "test_items_of_others_and_missing_items_get_identical_404s": _NGINX,
    "test_metrics_are_served_under_every_prefix_and_to_head": _METRICS,
    "test_names_of_metrics_follow_the_conventions_of_prometheus": _METRICS,
    "test_real_answers_are_valid_by_the_document": _HEALTH,
    "test_security_headers_are_on_every_answer_once": "nginx sends its own Server header",
    "test_the_callers_request_id_is_on_every_answer": _NGINX,
    "test_the_page_has_a_format_that_the_client_accepts": _METRICS,
    "test_the_page_has_the_format_that_the_client_prefers": _METRICS,
    "test_unreadable_metrics_do_not_make_the_server_unready": _INSIDE,
}
"""Tests that may fail behind a balancer in some cases; all other tests must pass there."""
