import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.report import units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (3e-13, "0 s"),
        (2.5e-6, "2.50 µs"),
        (0.0041, "4.10 ms"),
        (0.0916, "91.6 ms"),
        (0.2381, "238.1 ms"),
        (1.5, "1.50 s"),
        (1234.5, "1,234 s"),
        (-0.0041, "−4.10 ms"),
        (None, "unknown"),
    ],
)
def test_durations_have_about_three_figures_and_a_fitting_unit(seconds: float | None, text: str) -> None:
    assert units.duration(seconds) == text


def test_a_signed_number_shows_its_plus() -> None:
    assert units.duration(0.0262, signed=True) == "+26.2 ms"
    assert units.duration(-0.0262, signed=True) == "−26.2 ms"


def test_a_row_has_one_unit_and_one_number_of_decimals() -> None:
    scale = units.scale_for("s", 0.0913, 1.5, 0.00004)
    assert scale.label == "ms"
    assert [scale.text(value) for value in (0.0913, 1.5, 0.00004)] == ["91", "1,500", "0"]


def test_whole_tokens_have_no_decimals() -> None:
    assert units.scale_for("{token}", 21, 34).text(21) == "21"
    assert units.scale_for("{token}", 21, 34.5).text(34.5) == "34.5"
    assert units.scale_for("{token}/s", 249.03).label == "tok/s"


def test_a_row_without_values_still_has_a_unit() -> None:
    assert units.scale_for("s").label == "s"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (0.0158, "USD", "$0.0158"),
        (12.0, "USD", "$12.00"),
        (0.0, "USD", "$0.00"),
        (-0.00453, "USD", "−$0.00453"),
        (1.5, "EUR", "1.50 EUR"),
        (None, "USD", "unknown"),
        (1.0, None, "unknown"),
    ],
)
def test_unknown_money_is_unknown_and_never_0(amount: float | None, currency: str | None, text: str) -> None:
    assert units.money(amount, currency) == text


@pytest.mark.parametrize(("value", "text"), [(0.054, "0.05"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234")])
def test_a_large_ratio_needs_no_decimals(value: float, text: str) -> None:
    assert units.factor(value) == text


def test_an_unknown_ratio_is_unknown() -> None:
    assert (units.ratio(None), units.ratio(1.234)) == ("unknown", "×1.23")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_breaks_a_cell(value: float) -> None:
    assert units.scale_for("s", value).text(value)
    assert "-0" not in units.scale_for("s", 1.0).text(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (125, "2 min 5 s"), (7380, "2 h 3 min"), (100_800, "1 d 4 h"),
     (-3, "0 s")],
)  # fmt: skip
def test_what_has_lasted_is_said_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert units.elapsed(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (49152, "48 KiB"), (1_572_864, "1.50 MiB"), (1 << 34, "16 GiB")]
)
def test_a_size_is_said_in_the_largest_unit_that_fits(count: int, text: str) -> None:
    assert units.size(count) == text
