"""Panels and queries, as short as they can be said."""

RATE = "[$__rate_interval]"


def panel(title, unit, about, *queries, size=(8, 8), kind="timeseries", low=0, high=None, steps=(), stack=False):
    """A picture over time. A query is PromQL and its legend."""
    return {"title": title, "unit": unit, "about": about, "queries": queries, "size": size, "type": kind, "min": low,
            "max": high, "steps": steps, "stack": stack}


def stat(title, unit, about, *queries, steps=(), low=None, width=4):
    """A number."""
    return panel(title, unit, about, *queries, size=(4, width), kind="stat", low=low, steps=steps)


def rate(metric, by="", where="", legend=None):
    """So many a second, by some labels."""
    labels = f"{{{where}}}" if where else ""
    if not by:
        return f"sum(rate({metric}{labels}{RATE}))", legend or "all"
    shown = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return f"sum by ({by}) (rate({metric}{labels}{RATE}))", f"{legend} {shown}" if legend else shown


def gauge(metric, by="", where="", legend=None, how="sum"):
    """What it is now."""
    labels = f"{{{where}}}" if where else ""
    if not by:
        return f"{how}({metric}{labels})", legend or "all"
    shown = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return f"{how} by ({by}) ({metric}{labels})", f"{legend} {shown}" if legend else shown


def quantile(q, metric, by="", where="", legend=""):
    """Of a histogram."""
    labels = f"{{{where}}}" if where else ""
    groups = f"le, {by}" if by else "le"
    shown = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else ""
    name = " ".join(part for part in (legend, shown, f"p{q * 100:g}") if part)
    return f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket{labels}{RATE})))", name


def quantiles(metric, where="", legend=""):
    """Its middle and its tail."""
    return [quantile(q, metric, "", where, legend) for q in (0.5, 0.9, 0.99)]


def average(metric, where="", legend="average"):
    """Of a histogram."""
    labels = f"{{{where}}}" if where else ""
    return f"sum(rate({metric}_sum{labels}{RATE})) / sum(rate({metric}_count{labels}{RATE}))", legend


def used(metric, limit, by="instance", where="", legend="", how="max"):
    """How much is used of what there is, 0 to 1."""
    labels = f"{{{where}}}" if where else ""
    shown = " ".join(part for part in (legend,
    " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))) if part)
    return f"{how} by ({by}) ({metric}{labels}) / {how} by ({by}) ({limit}{labels})", shown
