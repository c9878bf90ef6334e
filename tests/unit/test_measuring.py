"""What the benchmarks count with: rounds take turns, pairs are compared as pairs, a table is a table."""

from tests.measuring import Figure, Sample, interleaved, table


class TestRounds:
    def test_take_turns_so_that_nobody_always_comes_first(self) -> None:
        order: list[str] = []
        interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
        assert "".join(order) == "abbaab"

    def test_leave_the_warm_up_out(self) -> None:
        calls: list[int] = []
        found = interleaved({"a": lambda: calls.append(1)}, rounds=2, warm_up=3)
        assert (len(calls), len(found["a"].took)) == (5, 2)

    def test_believe_a_way_that_timed_itself(self) -> None:
        assert interleaved({"a": lambda: 7.0}, rounds=2)["a"].took == (7.0, 7.0)


class TestASample:
    def test_compares_what_was_measured_together(self) -> None:
        assert Sample("a", (1.0, 10.0, 100.0)).ratio_to(Sample("b", (0.5, 5.0, 10.0))) == 2.0

    def test_says_what_99_of_100_stay_below(self) -> None:
        assert Sample("a", tuple(float(n) for n in range(1000))).p99 == 990.0
        assert Sample("a", (3.0, 1.0)).p99 == 3.0


class TestATable:
    def test_has_a_line_for_each_row_and_keeps_bars_inside_cells(self) -> None:
        assert table(["a", "b"], [[1, "x|y"]]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"

    def test_says_loudly_what_is_not_reached(self) -> None:
        assert Figure("drain", "≥ 2", "1", is_reached=False).row[-1] == "**no**"
