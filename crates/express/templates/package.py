import mod_wsgi

# The module that is built into Apache and the package of the same name are one.
package = os.path.join({{ programs.packages|py }}, 'mod_wsgi')
others = [path for path in getattr(mod_wsgi, '__path__', ()) if path != package]
mod_wsgi.__path__ = [package] + others
