"""Adds the folders ``conf`` of the user's plugins to Hydra's search path. Hydra imports this at every start."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class LeydenSearchPath(SearchPathPlugin):
    """Configs of plugins come after Leyden's own: a plugin adds choices, but does not replace any."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from leyden.config.plugins import conf_folders

        for folder in conf_folders():
            search_path.append("leyden-plugin", f"file://{folder}")
