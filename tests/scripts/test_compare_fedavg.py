"""The tables of docs/federated.md."""

from scripts.compare_fedavg import Measured, rounds_to, tables


def test_tables_by_hand() -> None:
    slow = Measured([0.5] * 9 + [0.975], test=0.97, seconds=60)
    fast = Measured([0.98, 0.96, 0.95, 0.9, 0.991, 0.98, 0.98, 0.98, 0.98, 0.985], test=0.99, seconds=120)
    text = tables({"iid": [fast, slow], "by class": [slow]})
    assert rounds_to(fast.rounds, 0.99) == 5
    assert "| iid | 1, 10 | 1, over 10 | 5, over 10 | 34 |" in text
    assert "| by class | 50.00% | 97.50% | – | – | – | – | 97.00% | 1.0 min |" in text
