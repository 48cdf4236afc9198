"""What is wrong with the service now, in words, each with what to do."""

from __future__ import annotations

from recommender.evaluation import REFUSED
from recommender.publishing import Version, published_version
from recommender.service.state import ServiceState

Fault = dict[str, str]  # what, remedy


def faults_of(state: ServiceState) -> list[Fault]:
    """Return what is wrong with the database, the people or the model; empty if nothing is, or before the start."""
    watch, found = state.updater, list[Fault]()
    if watch is None or state.model is None:
        return found
    if (fault := watch.fault) is not None:
        reason, since = fault
        remedy = "Answers go on from memory. Check the database; this message goes when it answers again."
        found.append(
            {"what": f"{reason[0].upper()}{reason[1:]} (since {since:%Y-%m-%d %H:%M:%S} UTC).", "remedy": remedy}
        )
    if watch.load_failure:
        remedy = "The model before it goes on. Mend the cause: loading is tried again by itself."
        found.append({"what": f"A newer model could not be loaded: {watch.load_failure}.", "remedy": remedy})
    return found


def refused_version(versions: list[Version]) -> Fault | None:
    """Return the fault that the newest version was refused; None if it was not."""
    published = published_version(versions)
    newest = versions[-1] if versions else None
    if newest is None or newest == published or (newest.metrics or {}).get("verdict") != REFUSED:
        return None
    goes_on = f"Version {published.number} stays published. " if published else ""
    remedy = f"{goes_on}Look at its figures on the page Versions; --force publishes one all the same."
    return {"what": f"Version {newest.number} was not published: the gate refused it.", "remedy": remedy}
