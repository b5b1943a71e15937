"""The options of ``start-server``, as data.

The list is made by the program itself (``mod_wsgi-express options --json``) and only read here.
``option_list`` has them as options of ``optparse``, for programs that build command lines of their
own from it.
"""

import json
import optparse
import os

# Where the name of the attribute is not that of the option.
_ATTRIBUTES = {
    'add-handler': 'handler_scripts',
    'error-document': 'error_documents',
    'include-file': 'include_files',
    'passenv': 'passenv_variables',
    'proxy-mount-point': 'proxy_mount_points',
    'proxy-virtual-host': 'proxy_virtual_hosts',
    'python-path': 'python_paths',
    'server-alias': 'server_aliases',
    'server-mpm': 'server_mpm_variables',
    'service-group': 'service_groups',
    'service-log-file': 'service_log_files',
    'service-script': 'service_scripts',
    'service-user': 'service_users',
    'setenv': 'setenv_variables',
    'ssl-verify-client': 'ssl_verify_client_urls',
    'trust-proxy': 'trusted_proxies',
    'trust-proxy-header': 'trusted_proxy_headers',
    'url-alias': 'url_aliases',
}

_TYPES = {'integer': int, 'float': float, 'text': str}


class Description:
    """One option."""

    def __init__(self, entry):
        self.name = entry['name']
        self.kind = entry['kind']
        self.metavars = entry['metavars']
        self.repeats = entry['repeats']
        self.help = entry['help']
        self.hidden = entry['hidden']
        self.attribute = _ATTRIBUTES.get(self.name, self.name.replace('-', '_'))
        names = [self.name] + ([entry['alias']] if entry['alias'] else [])
        self.flags = ['--' + name for name in names]
        self.type = _TYPES.get(self.kind)
        default = entry['default']
        self.default = self.type(default) if default is not None and self.type else None

    def words(self, value):
        """The words that say this value on a command line."""
        flag = self.flags[0]
        if self.kind == 'flag':
            return [flag] if value else []
        if value is None:
            return []
        words = []
        if self.kind == 'pair':
            for first, second in value:
                words += [flag, str(first), str(second)]
            return words
        for item in value if self.repeats and not isinstance(value, str) else [value]:
            words.append('%s=%s' % (flag, item))
        return words


def _read():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'options.json')
    with open(path, encoding='utf-8') as file:
        return [Description(entry) for entry in json.load(file)]


descriptions = _read()


def _option(option):
    keywords = {'dest': option.attribute}
    keywords['help'] = optparse.SUPPRESS_HELP if option.hidden else option.help.replace('%', '%%')
    if option.kind == 'flag':
        return optparse.make_option(*option.flags, action='store_true', default=False, **keywords)
    keywords['action'] = 'append' if option.repeats else 'store'
    keywords['metavar'] = ' '.join(option.metavars)
    keywords['default'] = option.default
    if option.kind == 'pair':
        keywords['nargs'] = 2
    else:
        keywords['type'] = {'integer': 'int', 'float': 'float', 'text': 'string'}[option.kind]
    return optparse.make_option(*option.flags, **keywords)


option_list = [_option(option) for option in descriptions]


def words(values):
    """The command line that says what a dictionary of attributes says.

    Values that are the default anyway are left out.
    """
    found = []
    for option in descriptions:
        value = values.get(option.attribute)
        if value is not None and value != option.default:
            found += option.words(value)
    return found
