"""Dates as people write them in six languages, each with the date in ISO 8601: "5. März 2021" → "2021-03-05".

All dates are from 1950 to 2049, so that a year with two digits is not ambiguous. Numbers separated by points are day,
month and year; those separated by slashes are month, day and year, as in the United States.
"""

from datetime import date, timedelta

import torch

from leyden.seeding import generator

FIRST, NUM_DAYS = date(1950, 1, 1), 36_525
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
}
DAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "de": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "es": "lunes martes miércoles jueves viernes sábado domingo",
    "it": "lunedì martedì mercoledì giovedì venerdì sabato domenica",
    "pt": "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
}
# {d} day, {m} month, {y} year, {dd} {mm} {yy} with two digits, {month} {short} its name, {day} of the week
FORMATS = (
    ("en", "{month} {d}, {y}"), ("en", "{d} {month} {y}"), ("en", "{short} {d}, {y}"),
    ("en", "{day}, {month} {d}, {y}"),
    ("en", "the {th} of {month}, {y}"), ("en", "{mm}/{dd}/{y}"), ("en", "{m}/{d}/{yy}"), ("en", "{y} {short} {dd}"),
    ("de", "{d}. {month} {y}"), ("de", "{day}, den {d}. {month} {y}"), ("de", "{dd}.{mm}.{y}"), ("de", "{d}.{m}.{yy}"),
    ("fr", "{d} {month} {y}"), ("fr", "le {day} {d} {month} {y}"), ("es", "{d} de {month} de {y}"),
    ("es", "{day}, {d} de {month} de {y}"), ("it", "{d} {month} {y}"), ("it", "{day} {d} {month} {y}"),
    ("pt", "{d} de {month} de {y}"), ("pt", "{day}, {d} de {month} de {y}"), ("en", "{y}/{m}/{d}"),
    ("de", "{y}, {d}. {month}"),
)  # fmt: skip


def dates(num: int, seed: int) -> tuple[list[str], list[str]]:
    """Return `num` random dates as people write them, and in ISO 8601. They are a function of the seed.

    Args:
        num: number of dates.
        seed: seed of the dates, of their formats and of capital letters.
    """
    rng = generator(seed, "dates")
    days = torch.randint(NUM_DAYS, (num,), generator=rng).tolist()
    formats = torch.randint(len(FORMATS), (num,), generator=rng).tolist()
    cases = torch.randint(8, (num,), generator=rng).tolist()  # one of eight is in lower case, one in upper case
    found = [FIRST + timedelta(day) for day in days]
    texts = [
        with_case(written(one, *FORMATS[form]), case) for one, form, case in zip(found, formats, cases, strict=True)
    ]
    return texts, [one.isoformat() for one in found]


def with_case(text: str, case: int) -> str:
    """Return a text in lower case for 0, in upper case for 1, and unchanged for other numbers."""
    return text.lower() if case == 0 else text.upper() if case == 1 else text


def written(day: date, language: str, form: str) -> str:
    """Return a date in a language and one of `FORMATS`."""
    month = MONTHS[language].split()[day.month - 1]
    return form.format(
        d=day.day, m=day.month, y=day.year, dd=f"{day.day:02}", mm=f"{day.month:02}", yy=f"{day.year % 100:02}",
        month=month, short=month[:3], day=DAYS[language].split()[day.weekday()], th=ordinal(day.day),
    )  # fmt: skip


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, …"""
    ending = "th" if 10 < number < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
